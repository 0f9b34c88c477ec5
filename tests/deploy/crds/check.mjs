// Checks custom resources against the schemas that their projects publish.
//   node check.mjs MANIFESTS.json FOLDER_WITH_NODE_MODULES     prints {"checked": N, "problems": [...]}
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , file, packages] = process.argv;
const load = (path) => import(pathToFileURL(join(packages, "node_modules/@kubernetes-models", path, "index.js")));
const { HTTPRoute } = await load("gateway-api/gateway.networking.k8s.io/v1");
const { ServiceMonitor, PrometheusRule } = await load("prometheus-operator/monitoring.coreos.com/v1");
const kinds = { HTTPRoute, ServiceMonitor, PrometheusRule };

const answer = { checked: 0, problems: [] };
for (const manifest of JSON.parse(readFileSync(file, "utf8"))) {
  const Kind = kinds[manifest.kind];
  if (!Kind) continue;
  answer.checked += 1;
  try {
    new Kind(manifest).validate();
  } catch (error) {
    answer.problems.push(`${manifest.kind} ${manifest.metadata.name}: ${error.message}`);
  }
}
process.stdout.write(JSON.stringify(answer));
