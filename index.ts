import { loadConfig } from "./stacks/config/schema";
import { platform } from "./stacks/platform";

export = platform(loadConfig());
