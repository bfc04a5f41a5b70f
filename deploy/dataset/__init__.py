"""The examples as files: Parquet, JSONL and a card."""
