import { prepareSite } from "./harness/site";
async function main() {
  const t = Date.now();
  await prepareSite("local", (line) => {
    console.log(`[${Math.round((Date.now() - t) / 1000)} s] ${line}`);
  });
}
void main();
