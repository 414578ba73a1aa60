import { version } from "../../package.json";

/** This player, as telemetry names it. */
export const PLAYER = { name: "reelmesh-web", version };
