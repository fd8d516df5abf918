// Copies the source, on which the server's page is built too, into dist. npm runs this before it packs or links the package.

import { cpSync, rmSync } from "node:fs";

const at = (path) => new URL(path, import.meta.url);

rmSync(at("dist"), { recursive: true, force: true });
cpSync(at("../../src/voxgate/web/client"), at("dist"), { recursive: true });
cpSync(at("../../LICENSE"), at("LICENSE"));
