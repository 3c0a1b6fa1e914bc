import { charts } from "../../../components/base/versions";
import { INERT, type Operator } from "../operator";

/** The plugin of CloudNativePG that stores backups. What runs beside an instance is counted with it. */
export const barmanCloud: Operator = {
  name: "barman-cloud",
  origin: `chart plugin-barman-cloud ${charts.barmanCloud.version}`,
  crds: { folder: "cnpg", group: "barmancloud.cnpg.io" },
  kinds: {
    "barmancloud.cnpg.io/v1/ObjectStore": { ...INERT, withoutStage: "it has no status that anybody waits for" },
  },
};
