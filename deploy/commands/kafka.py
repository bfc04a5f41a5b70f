"""`seedstream kafka`: a real Apache Kafka on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.options import say

app = typer.Typer(no_args_is_help=True, help="A real Apache Kafka on this machine, for development and tests.")

Folder = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Where its data and logs are. [~/.local/state/seedstream/kafka]"),
]
Nodes = Annotated[int | None, typer.Option("--nodes", metavar="1|3", help="Nodes of a new cluster. [1]")]
Port = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, help="The first node's port; the others take the next. [a free one]"),
]


@app.command(epilog="Example: seedstream kafka start --dir kafka --port 9092")
def start(nodes: Nodes = None, directory: Folder = None, port: Port = None) -> None:
    """Start Kafka in the background, and print the --bus to use. It goes on with the data that it had.

    It needs Java 17. The first time Maven fetches Kafka's jars, 44 MB, into the cache ($SEEDSTREAM_CACHE).
    """
    from deploy.local_kafka import LocalKafka, jars
    from deploy.local_kafka.cluster import default_folder

    kafka = LocalKafka(directory or default_folder(), nodes=nodes, port=port)
    if not jars.present():
        say(f"fetching Apache Kafka {jars.KAFKA} (44 MB, once) into {jars.cache()}")
    started = kafka.start()
    what = f"Apache Kafka {jars.KAFKA}, {len(kafka.nodes)} node{'s' if len(kafka.nodes) > 1 else ''}"
    print(f"kafka://{kafka.bootstrap}", flush=True)
    say(f"{what}, {'serves' if started else 'runs already'}; data and logs: {kafka.folder}")
    say(f"stop it with: seedstream kafka stop{f' --dir {directory}' if directory else ''}")


@app.command(epilog="Example: seedstream kafka stop --dir kafka")
def stop(directory: Folder = None) -> None:
    """Stop the Kafka of a folder, and keep its data."""
    from deploy.local_kafka import LocalKafka
    from deploy.local_kafka.cluster import default_folder

    kafka = LocalKafka(directory or default_folder())
    say(f"{'stopped' if kafka.stop() else 'nothing runs'} in {kafka.folder}")
