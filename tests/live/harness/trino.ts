import type { Pod } from "./pod";

/** The rows that a coordinator answers a query with; throws what it says against it. */
export async function query(coordinator: Pod, sql: string): Promise<any[][]> {
  const headers = { "X-Trino-User": "tests" };
  let answer = await (
    await fetch(coordinator.url("http", "/v1/statement"), { method: "POST", body: sql, headers })
  ).json();
  const rows: any[][] = [];
  for (;;) {
    const { data = [], error, nextUri } = answer;
    if (error !== undefined) throw new Error(`${sql}: ${error.errorName}: ${error.message}`);
    rows.push(...data);
    if (nextUri === undefined) return rows;
    answer = await (await fetch(nextUri, { headers })).json();
  }
}
