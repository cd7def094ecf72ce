// One vocabulary of states: what the API says, its tone, its icon, its words.
export type Tone = 'ok' | 'warn' | 'bad' | 'busy' | 'unknown' | 'idle'

export interface Status {
  tone: Tone
  icon: string
  key: string
}

const row = (tone: Tone, icon: string, key: string): Status => ({ tone, icon, key })

export const STATUS = {
  job: {
    queued: row('unknown', 'clock', 'status.job.queued'),
    running: row('busy', 'busy', 'status.job.running'),
    succeeded: row('ok', 'check', 'status.job.succeeded'),
    warning: row('warn', 'warning', 'status.job.warning'),
    failed: row('bad', 'cross', 'status.job.failed'),
    cancelled: row('idle', 'stop', 'status.job.cancelled'),
  },
  run: {
    foreseen: row('idle', 'clock', 'status.run.foreseen'),
  },
  health: {
    ok: row('ok', 'check', 'status.health.ok'),
    at_risk: row('warn', 'warning', 'status.health.at_risk'),
    breached: row('bad', 'cross', 'status.health.breached'),
    no_target: row('idle', 'circle', 'status.health.no_target'),
    off: row('idle', 'stop', 'status.health.off'),
    never: row('warn', 'warning', 'status.health.never'),
  },
  backup: {
    good: row('ok', 'check', 'status.backup.good'),
    noted: row('ok', 'check', 'status.backup.noted'),
    doubtful: row('warn', 'warning', 'status.backup.doubtful'),
    damaged: row('bad', 'cross', 'status.backup.damaged'),
    missing: row('bad', 'cross', 'status.backup.missing'),
  },
  repository: {
    sound: row('ok', 'check', 'status.repository.sound'),
    frozen: row('bad', 'lock', 'status.repository.frozen'),
    damaged: row('bad', 'cross', 'status.repository.damaged'),
    unused: row('idle', 'circle', 'status.repository.unused'),
  },
  pool: {
    ok: row('ok', 'check', 'status.pool.ok'),
    problem: row('bad', 'cross', 'status.pool.problem'),
    unmeasured: row('unknown', 'question', 'status.pool.unmeasured'),
  },
  alert: {
    warning: row('warn', 'warning', 'status.alert.warning'),
    critical: row('bad', 'cross', 'status.alert.critical'),
    acknowledged: row('idle', 'eye', 'status.alert.acknowledged'),
    pending: row('idle', 'clock', 'status.alert.pending'),
    resolved: row('ok', 'check', 'status.alert.resolved'),
  },
  channel: {
    working: row('ok', 'check', 'status.channel.working'),
    waiting: row('unknown', 'clock', 'status.channel.waiting'),
    failing: row('bad', 'cross', 'status.channel.failing'),
    untried: row('unknown', 'question', 'status.channel.untried'),
    off: row('idle', 'stop', 'status.channel.off'),
  },
  delivery: {
    waiting: row('unknown', 'clock', 'status.delivery.waiting'),
    retrying: row('warn', 'warning', 'status.delivery.retrying'),
    sent: row('ok', 'check', 'status.delivery.sent'),
    failed: row('bad', 'cross', 'status.delivery.failed'),
    needless: row('idle', 'stop', 'status.delivery.needless'),
  },
  window: {
    now: row('warn', 'pause', 'status.window.now'),
    coming: row('idle', 'clock', 'status.window.coming'),
    over: row('idle', 'check', 'status.window.over'),
  },
  process: {
    here: row('ok', 'check', 'status.process.here'),
    missing: row('bad', 'cross', 'status.process.missing'),
    ended: row('idle', 'stop', 'status.process.ended'),
  },
  setup: {
    new: row('idle', 'circle', 'status.setup.new'),
    host_key: row('warn', 'key', 'status.setup.host_key'),
    ready: row('ok', 'check', 'status.setup.ready'),
    failed: row('bad', 'cross', 'status.setup.failed'),
  },
  reach: {
    up: row('ok', 'check', 'status.reach.up'),
    down: row('bad', 'cross', 'status.reach.down'),
  },
  user: {
    active: row('ok', 'check', 'status.user.active'),
    invited: row('idle', 'clock', 'status.user.invited'),
    disabled: row('idle', 'stop', 'status.user.disabled'),
  },
  token: {
    valid: row('ok', 'check', 'status.token.valid'),
    soon: row('warn', 'clock', 'status.token.soon'),
    expired: row('bad', 'cross', 'status.token.expired'),
  },
  approval: {
    asked: row('warn', 'eye', 'status.approval.asked'),
    approved: row('unknown', 'clock', 'status.approval.approved'),
    rejected: row('idle', 'cross', 'status.approval.rejected'),
    withdrawn: row('idle', 'back', 'status.approval.withdrawn'),
    expired: row('idle', 'stop', 'status.approval.expired'),
    done: row('ok', 'check', 'status.approval.done'),
    stale: row('warn', 'warning', 'status.approval.stale'),
    failed: row('bad', 'cross', 'status.approval.failed'),
  },
  audit: {
    done: row('ok', 'check', 'status.audit.done'),
    refused: row('warn', 'lock', 'status.audit.refused'),
    asked: row('unknown', 'clock', 'status.audit.asked'),
  },
} as const satisfies Record<string, Record<string, Status>>

export const UNKNOWN = row('unknown', 'question', 'status.unknown')

/** Returns the row of a code; one that this version does not know is shown as unknown, never as good. */
export function statusOf(noun: keyof typeof STATUS, code: string): Status {
  const known: Record<string, Status> = STATUS[noun]
  return Object.hasOwn(known, code) ? (known[code] ?? UNKNOWN) : UNKNOWN
}

export type Figure = 'cpu' | 'memory' | 'disk'

const MARKS: Record<Figure, readonly [warn: number, bad: number]> = {
  cpu: [50, 80],
  memory: [70, 85],
  disk: [70, 85],
}

/** Returns the tone of a percentage; nothing known is unknown, and 0 is 0. */
export function toneOf(figure: Figure, percent: number | null): Tone {
  if (percent === null) return 'unknown'
  const [warn, bad] = MARKS[figure]
  if (percent < warn) return 'ok'
  return percent < bad ? 'warn' : 'bad'
}
