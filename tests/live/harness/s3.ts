import type { Pod } from "./pod";
import { python } from "./python";

const CALLS = `
import boto3, botocore
from botocore.config import Config
s3 = boto3.client("s3", config=Config(retries={"max_attempts": 1}), **input.get("login", {}))
def outcome(call, **args):
    try:
        getattr(s3, call)(**args)
        return "OK"
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
print(json.dumps([outcome(call, **args) for call, args in input["calls"]]))
`;

/** Methods of an S3 client, each with its arguments. */
export type S3Calls = readonly (readonly [string, object])[];

/** What comes of calls, one after the other: `OK`, or the code of the error. The login is the pod's own, unless there is another. */
export async function outcomes(client: Pod, calls: S3Calls, login: object = {}): Promise<string[]> {
  return (await python(client, CALLS, { calls, login })) as string[];
}
