// The types that mobilesam.d.ts declares are those of the code; `make lint` checks it.

import type * as declared from "../../webui/static/mobilesam.js";
import * as actual from "../../webui/static/model/mobilesam.js";

export const checked: typeof declared = actual;
export const loaded: Promise<declared.MobileSam> = actual.MobileSam.load();
