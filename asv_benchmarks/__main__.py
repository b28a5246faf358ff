"""``python -m asv_benchmarks`` is ``python -m asv_benchmarks.peers``."""

from .peers import main

main()
