"""Tests of the whole of Konsul; what each room holds is in README.md."""
