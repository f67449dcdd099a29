"""The report as one HTML file that a browser shows without a network.

`assets/3Dmol-min.js` is 3Dmol.js 2.5.5 (doi:10.1093/bioinformatics/btu829), `assets/3Dmol.LICENSE`
its licenses, which are part of every page.
"""
