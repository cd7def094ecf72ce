// A set-up as steps that a person can follow, from what its job says.
import type { StepState } from '@/ui/Steps.vue'
import type { Job } from './api'

/** The steps by the name that the setup service reports; connecting comes before the first of them. */
export const SETUP_STEPS = {
  connect: 'servers.setup.step.connect',
  'detect system': 'servers.setup.step.detect',
  'install fleet key': 'servers.setup.step.authorize',
  'install borg': 'servers.setup.step.install',
  'make key pair': 'servers.setup.step.keypair',
  'pin storage host keys': 'servers.setup.step.pin',
  'prove the way back': 'servers.setup.step.prove',
  'prove the fleet key': 'servers.setup.step.prove_key',
} as const

export function setupSteps(job: Job): { key: string; state: StepState }[] {
  const names = Object.keys(SETUP_STEPS)
  const phase = job.progress?.['phase']
  const at = Math.max(0, names.indexOf(typeof phase === 'string' ? phase : ''))
  const done = job.state === 'succeeded' || job.state === 'warning'
  const here: StepState = job.state === 'running' ? 'busy' : job.state === 'queued' ? 'todo' : 'failed'
  return Object.values(SETUP_STEPS).map((key, index) => ({
    key,
    state: done || index < at ? 'done' : index === at ? here : 'todo',
  }))
}

export type SetupStage = 'none' | 'working' | 'host_key' | 'failed' | 'ready'

export function stageOf(job: Job | null, offered: string | null | undefined): SetupStage {
  if (!job) return 'none'
  if (job.state === 'queued' || job.state === 'running') return 'working'
  if (job.state === 'succeeded' || job.state === 'warning') return 'ready'
  return offered && job.code?.startsWith('host_key') ? 'host_key' : 'failed'
}
