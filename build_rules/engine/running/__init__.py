"""What happens when a step runs: its drafts, its process, its resources, the lock, and how it fails."""
