class StickyPartitionAssignor:
    pass
