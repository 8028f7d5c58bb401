"""Tests of konsulctl."""
