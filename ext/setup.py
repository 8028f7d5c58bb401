"""Builds every .pyx of konsul_ext; directives live here once, not in each file."""

from Cython.Build import cythonize
from setuptools import Extension, setup

DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    # A request cannot be pickled, and the stub should say everything there is.
    "auto_pickle": False,
    "autotestdict": False,
}

setup(
    ext_modules=cythonize(
        [Extension("konsul_ext.*", ["konsul_ext/*.pyx"], extra_compile_args=["-O2"])],
        compiler_directives=DIRECTIVES,
    )
)
