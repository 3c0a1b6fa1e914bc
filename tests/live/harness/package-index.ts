import * as https from "node:https";
import type { Cluster } from "./cluster";
import { python } from "./python";
import type { Pod } from "./pod";

const HOST = "pypi.example.com";
const PORT = 8444;

// The least that pip takes for a package without code.
const WHEEL = `
import base64, io, zipfile
[name, version] = input
folder = f"{name}-{version}.dist-info"
files = {
    "METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
    "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "RECORD": "",
}
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w") as wheel:
    for file, text in files.items():
        wheel.writestr(f"{folder}/{file}", text)
print(json.dumps(base64.b64encode(buffer.getvalue()).decode()))
`;

/** An index of Python packages over TLS, as pip asks it, with one package. */
export class PackageIndex {
  static readonly host = HOST;
  static readonly url = `https://${HOST}:${PORT}/simple`;

  private constructor(private readonly server: https.Server) {}

  /** Starts it at the address of the tests, and has its name lead there; `builder` is a pod with Python. */
  static async start(
    cluster: Cluster,
    certificate: https.ServerOptions,
    builder: Pod,
    [name, version]: readonly [string, string],
  ): Promise<PackageIndex> {
    const file = `${name}-${version}-py3-none-any.whl`;
    const wheel = Buffer.from(await python(builder, WHEEL, [name, version]), "base64");
    const server = https.createServer(certificate, ({ url }, response) => {
      // Names are asked for in their normal form.
      if (url === `/simple/${name.replaceAll("_", "-")}/`) {
        response.setHeader("Content-Type", "text/html");
        response.end(`<!doctype html><a href="../../${file}">${file}</a>`);
      } else if (url === `/${file}`) {
        response.end(wheel);
      } else {
        response.statusCode = 404;
        response.end();
      }
    });
    await new Promise<void>((resolve) => server.listen(PORT, cluster.own, resolve));
    cluster.publishHosts(cluster.own, [HOST]);
    return new PackageIndex(server);
  }

  close(): void {
    this.server.close();
  }
}
