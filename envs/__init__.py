"""Worlds that answer an action with an observation.

Importing this package registers `helmsight/Parking-v0` and `helmsight/Libero-v0` with Gymnasium;
the simulator behind one is imported when an environment is made. A robot has no Gymnasium: there,
`envs.spec` alone is used.
"""

import importlib.util

if importlib.util.find_spec("gymnasium") is not None:
    from helmsight.envs.registration import register_environments

    register_environments()
