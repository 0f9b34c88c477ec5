"""Bulk on Ray beside the online path, on the same pictures: how fast, how alike, and what two kills leave."""
