import { loadConfig } from "./stacks/config";
import { platform } from "./stacks/platform";

export = platform(loadConfig());
