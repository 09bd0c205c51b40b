# refresh.py MIRROR ROOT DIR [TIME]: python-tuf's client, that begins with a root and with what it finds in a
# directory, at a time. It prints the versions that it came to, and gets a target.
import datetime
import pathlib
import sys

from tuf.ngclient import Updater

mirror, root, dir, *time = sys.argv[1:]
updater = Updater(dir, mirror, dir, mirror + "/targets/", bootstrap=pathlib.Path(root).read_bytes())
if time:
    updater._trusted_set.reference_time = datetime.datetime.fromisoformat(time[0].replace("Z", "+00:00"))
updater.refresh()
updater.download_target(updater.get_targetinfo("trusted_root.json"), dir + "/target")
found = updater._trusted_set
print("root", found.root.version, "timestamp", found.timestamp.version, "snapshot", found.snapshot.version, "targets", found.targets.version)
