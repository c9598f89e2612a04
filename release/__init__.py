"""What is handed out: made from this repository and the locks, the same bytes each time.

    lock.py      requirements/*.txt -> the packages that they pin
    wheels.py    the locked wheels of one architecture, for every supported Python, laid into one folder
    epoch.py     the time that all of it bears
    manual.py    the manual page, from the commands themselves
    licences.py  whose licence each package has, and whether it fits ours
    deb.py       all of it as a Debian package
    image.py     that package in a container image
    sbom.py      the bill of materials (CycloneDX)
    audit.py     known vulnerabilities of what is locked; what could not be looked up is a failure

Each is a program: `python -m release.deb amd64`; the Makefile has the verbs. Nothing here runs in a gateway.
"""
