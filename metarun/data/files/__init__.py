"""Archives, downloads and the cache, for every kind of data."""
