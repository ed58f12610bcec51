"""The page that people look at: `build/report/index.html`, made of what the build and comparisons have left."""
