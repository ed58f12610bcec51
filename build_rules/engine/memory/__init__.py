"""What is remembered of former runs and decides nothing: durations, failures, texts as they were."""
