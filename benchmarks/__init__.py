"""Benchmarks: what a figure cost, beside what. They reach the server over HTTP only."""
