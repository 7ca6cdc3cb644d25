"""Worker processes: calls of other people's code, with limits, that survive its crashes."""
