// The latest look at a server, read field by field: what is missing or of another kind is unknown, never 0.
import type { Server } from './api'

export interface Mount {
  point: string
  percent: number | null
  used: number | null
  total: number | null
}

export interface Sample {
  system: string | null
  kernel: string | null
  architecture: string | null
  hostname: string | null
  address: string | null
  cores: number | null
  model: string | null
  load: (number | null)[]
  cpu: number | null
  memory: number | null
  memoryTotal: number | null
  swap: number | null
  swapTotal: number | null
  disk: number | null
  uptime: number | null
  collectedAt: string | null
  rebootPending: boolean
  mounts: Mount[]
}

const MIB = 2 ** 20
const GIB = 2 ** 30

export function sampleOf(server: Server): Sample {
  const raw: Record<string, unknown> = server.status?.sample ?? {}
  const text = (name: string): string | null => (typeof raw[name] === 'string' ? (raw[name] as string) : null)
  const number = (name: string, of = raw): number | null =>
    typeof of[name] === 'number' && Number.isFinite(of[name]) ? (of[name] as number) : null
  const sized = (name: string, unit: number): number | null => {
    const found = number(name)
    return found === null ? null : found * unit
  }
  const listed: unknown[] = Array.isArray(raw['mounts']) ? raw['mounts'] : []
  const mounts = listed
    .filter((one): one is Record<string, unknown> => typeof one === 'object' && one !== null)
    .map((one) => ({
      point: String(one['mount_point'] ?? ''),
      percent: number('percent', one),
      used: number('used_bytes', one),
      total: number('total_bytes', one),
    }))
  const diskTotal = sized('disk_total_gb', GIB)
  const root =
    diskTotal === null || mounts.some((mount) => mount.point === '/')
      ? null
      : {
          point: text('disk_mount_point') ?? '/',
          percent: number('disk_percent'),
          used: sized('disk_used_gb', GIB),
          total: diskTotal,
        }
  const system = [text('os_distribution'), text('os_version')].filter(Boolean).join(' ')
  return {
    system: system || null,
    kernel: text('kernel_version'),
    architecture: text('architecture'),
    hostname: text('hostname'),
    address: text('ip_address'),
    cores: number('cpu_cores'),
    model: text('cpu_model'),
    load: ['cpu_load_1', 'cpu_load_5', 'cpu_load_15'].map((name) => number(name)),
    // A server that does not answer now is not as busy as it was when it last did.
    cpu: server.status?.up ? number('cpu_usage_percent') : null,
    memory: server.status?.up ? number('memory_percent') : null,
    memoryTotal: sized('memory_total_mb', MIB),
    swap: server.status?.up ? number('swap_percent') : null,
    swapTotal: sized('swap_total_mb', MIB),
    disk: server.status?.up ? number('disk_percent') : null,
    uptime: server.status?.up ? number('uptime_seconds') : null,
    collectedAt: text('collected_at'),
    rebootPending: raw['reboot_pending'] === true,
    mounts: root === null ? mounts : [root, ...mounts],
  }
}
