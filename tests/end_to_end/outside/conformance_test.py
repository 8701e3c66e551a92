#!/usr/bin/env python3
"""Checks a relayd against every statement of the protocol's page that a socket can see.

    RELAYD=path/to/relayd RELAY=path/to/relay conformance_test.py [CLASS[.TEST] ...]
"""

import os
import sys
import unittest

from connection_faults import *
from credit import *
from ends import *
from exchanges import *
from farewells import *
from interop import *
from lesser_faults import *
from observation import *

if __name__ == "__main__":
    if "RELAYD" not in os.environ:
        sys.exit("RELAYD is not set: the path of the relayd to test")
    unittest.main()
