/** The schemas say what src/api.ts says, no less and no more: this file compiles only while they do. */

import type { z } from '@hono/zod-openapi';

import type * as api from '../api.js';
import type * as schemas from './schemas.js';

/** What a schema gives is mutable, and what the contract has is not. */
type Frozen<T> = T extends object ? { readonly [Key in keyof T]: Frozen<T[Key]> } : T;
type Of<Name extends keyof typeof schemas> = (typeof schemas)[Name] extends z.ZodType
  ? Frozen<z.output<(typeof schemas)[Name]>>
  : never;
type Same<Left, Right> = [Left] extends [Frozen<Right>] ? ([Frozen<Right>] extends [Left] ? true : 'less') : 'more';

/** One entry for each; `true` is the only value that each may have. */
export const agreement: {
  readonly status: Same<Of<'status'>, api.Status>;
  readonly virtualServer: Same<Of<'virtualServer'>, api.VirtualServerStatus>;
  readonly pool: Same<Of<'pool'>, api.PoolStatus>;
  readonly connectionsPage: Same<Of<'connectionsPage'>, api.ConnectionsPage>;
  readonly busiestConnections: Same<Of<'busiestConnections'>, api.BusiestConnections>;
  readonly mirror: Same<Of<'mirror'>, api.MirrorStatus>;
  readonly failover: Same<Of<'failover'>, api.FailoverStatus>;
  readonly counters: Same<Of<'counters'>, api.CountersStatus>;
  readonly survival: Same<Of<'survival'>, api.Survival>;
  readonly costs: Same<Of<'costs'>, api.Costs>;
  readonly rates: Same<Of<'rates'>, api.Rates>;
  readonly transition: Same<Of<'transition'>, api.Transition>;
  readonly virtualServerChange: Same<Of<'virtualServerChange'>, api.VirtualServerChange>;
  readonly virtualServerChanged: Same<Of<'virtualServerChanged'>, api.VirtualServerChanged>;
  readonly memberChanged: Same<Of<'memberChanged'>, api.MemberChanged>;
  readonly standbyResult: Same<Of<'standbyResult'>, api.StandbyResult>;
  readonly captureRequest: Same<Of<'captureRequest'>, api.CaptureRequest>;
  readonly applyRequest: Same<Of<'applyRequest'>, api.ApplyRequest>;
  readonly applyResult: Same<Of<'applyResult'>, api.ApplyResult>;
  readonly reloadResult: Same<Of<'reloadResult'>, api.ReloadResult>;
  readonly errorBody: Same<Of<'errorBody'>, api.ControlErrorBody>;
} = {
  status: true,
  virtualServer: true,
  pool: true,
  connectionsPage: true,
  busiestConnections: true,
  mirror: true,
  failover: true,
  counters: true,
  survival: true,
  costs: true,
  rates: true,
  transition: true,
  virtualServerChange: true,
  virtualServerChanged: true,
  memberChanged: true,
  standbyResult: true,
  captureRequest: true,
  applyRequest: true,
  applyResult: true,
  reloadResult: true,
  errorBody: true,
};
