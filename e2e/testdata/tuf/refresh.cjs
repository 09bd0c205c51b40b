// refresh.cjs MODULES MIRROR ROOT DIR [TIME]: the same with tuf-js, which begins with the root of its directory.
const fs = require("fs");
const [modules, mirror, root, dir, time] = process.argv.slice(2);
const { Updater } = require(modules + "/tuf-js");

(async () => {
  fs.mkdirSync(dir, { recursive: true });
  fs.copyFileSync(root, dir + "/root.json");
  const updater = new Updater({ metadataDir: dir, metadataBaseUrl: mirror, targetDir: dir, targetBaseUrl: mirror + "/targets", config: { fetchRetries: 0 } });
  if (time) updater.trustedSet.referenceTime = new Date(time);
  await updater.refresh();
  await updater.downloadTarget(await updater.getTargetInfo("trusted_root.json"), dir + "/target");
  const { root: r, timestamp, snapshot, targets } = updater.trustedSet;
  console.log("root", r.signed.version, "timestamp", timestamp.signed.version, "snapshot", snapshot.signed.version, "targets", targets.signed.version);
})().catch((err) => {
  console.error(String(err));
  process.exit(1);
});
