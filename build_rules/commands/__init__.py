"""Our own verbs beside doit's, entry points of group `doit.COMMAND`; none of them needs a dodo.py."""
