import * as fs from "node:fs";
import * as path from "node:path";
import type { Piece } from "../../../rehearsal/software/images";
import { issuedAs } from "./certificates";
import type { Program } from "./program";

/** The volumes of a pod as directories, and what mounts make of them. */
export class Volumes {
  constructor(
    private readonly program: Program,
    private readonly directory: string,
    private readonly pod: any,
    private readonly claims: readonly any[],
    private readonly namespace: string,
  ) {}

  /** What a container sees of them. */
  pieces(container: any): Piece[] {
    const pieces = this.mounts(container);
    // A volume that is mounted inside another one finds a directory there.
    for (const { target } of pieces) {
      for (const outer of pieces) {
        if (outer.kind === "tmpfs" || !target.startsWith(`${outer.target}/`)) continue;
        fs.mkdirSync(path.join(outer.source, path.relative(outer.target, target)), { recursive: true });
      }
    }
    return pieces;
  }

  private mounts(container: any): Piece[] {
    return (container.volumeMounts ?? []).map((mount: any): Piece => {
      const { name, mountPath, subPath = "", readOnly = false } = mount;
      const volume = this.volume(name);
      if (volume.emptyDir?.medium === "Memory") {
        const { sizeLimit } = volume.emptyDir;
        const size = sizeLimit === undefined ? "" : `,size=${sizeLimit.replace("Mi", "m").replace("Gi", "g")}`;
        return { kind: "tmpfs", target: mountPath, options: `mode=1777${size}` };
      }
      const isContent = !("emptyDir" in volume) && !("claim" in volume);
      const source = path.join(this.materialised(name, volume), subPath);
      return { kind: readOnly || isContent ? "ro" : "rw", source, target: mountPath };
    });
  }

  private volume(name: string): any {
    const claim = this.claims.find(({ metadata }) => metadata.name === name);
    const volume = claim ? { claim } : (this.pod.volumes ?? []).find((one: any) => one.name === name);
    if (volume === undefined) throw new Error(`the pod has no volume ${name}`);
    return volume;
  }

  private materialised(name: string, volume: any): string {
    const directory = path.join(this.directory, name);
    fs.mkdirSync(directory, { recursive: true });
    if ("emptyDir" in volume || "claim" in volume) {
      // As the kubelet leaves them: anybody may write an emptyDir, the group of the pod a claim.
      fs.chownSync(directory, 0, this.pod.securityContext?.fsGroup ?? 0);
      fs.chmodSync(directory, "emptyDir" in volume ? 0o2777 : 0o2775);
      return directory;
    }
    const { fsGroup = 0 } = this.pod.securityContext ?? {};
    for (const [file, text] of Object.entries(this.contents(volume))) {
      const target = path.join(directory, file);
      fs.mkdirSync(path.dirname(target), { recursive: true });
      fs.writeFileSync(target, text);
      fs.chownSync(target, 0, fsGroup);
      fs.chmodSync(target, volume.secret ? 0o440 : 0o444);
    }
    return directory;
  }

  /** The files of a ConfigMap, of a Secret, or of both projected into one. */
  private contents(volume: any): Readonly<Record<string, string | Buffer>> {
    const { configMap, secret, projected } = volume;
    if (projected) return Object.assign({}, ...projected.sources.map((source: any) => this.contents(source)));
    if (!configMap && !secret) throw new Error(`volume ${volume.name}: no such kind is known here`);
    const name = configMap?.name ?? secret.secretName ?? secret.name;
    const issued = secret && issuedAs(name, this.program);
    const data: Record<string, string | Buffer> = {
      ...(issued ?? this.program.data(configMap ? "ConfigMap" : "Secret", name, this.namespace)),
      ...(configMap && this.program.binaries(name)),
    };
    const { items } = configMap ?? secret;
    if (!items) return data;
    return Object.fromEntries(
      items.map(({ key, path: file }: any) => {
        const value = data[key];
        if (value === undefined) throw new Error(`${name} has no ${key}`);
        return [file, value];
      }),
    );
  }
}
