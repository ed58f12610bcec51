"""A pool of images: which files it is, what each looks like, which are chosen and which left out."""
