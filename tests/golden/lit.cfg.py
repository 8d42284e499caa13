# Golden tests: text in, text out, checked by LLVM's lit and FileCheck. Run through ctest, or by hand:
#   PLIM_BUILD=build/release python3 /usr/lib/llvm-19/build/utils/lit/lit.py tests/golden
import os

import lit.formats

config.name = "plimsoll"
config.test_format = lit.formats.ShTest(True)
config.suffixes = [".graph", ".plim", ".plan", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
build = os.path.abspath(os.environ["PLIM_BUILD"])
config.test_exec_root = os.path.join(build, "tests", "golden")
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(build, "tools"), "/usr/lib/llvm-19/bin", os.environ["PATH"]])
config.environment["LC_ALL"] = "C"
config.environment["NO_COLOR"] = "1"
config.environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "")
root = os.path.dirname(os.path.dirname(config.test_source_root))
config.substitutions.append(("%models", os.path.join(root, "models")))
config.substitutions.append(("%root", root))
