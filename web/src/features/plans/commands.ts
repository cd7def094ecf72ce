// What a person tells a backup job to do, with the words about it.
import { useI18n } from 'vue-i18n'
import { useRouter } from 'vue-router'
import { problemOf } from '@/lib/api/errors'
import { safeName } from '@/lib/format'
import { useNotices } from '@/lib/notices'
import { type BackupJob, type Pausing, usePlanActions } from './api'

export function usePlanCommands() {
  const { t } = useI18n()
  const router = useRouter()
  const notices = useNotices()
  const actions = usePlanActions()

  async function told(work: () => Promise<unknown>, said: string): Promise<void> {
    try {
      await work()
      notices.say(said)
    } catch (error) {
      notices.fail(problemOf(error))
    }
  }

  return {
    running: actions.run.isPending,
    /** Runs it, and goes where the run can be watched. */
    run: async (plan: BackupJob): Promise<void> => {
      try {
        const job = await actions.run.mutateAsync(plan.id)
        await router.push(`/jobs/${job.id}`)
      } catch (error) {
        notices.fail(problemOf(error))
      }
    },
    /** Only as it was seen: a second click, or another person, would turn it back. */
    toggle: async (plan: BackupJob): Promise<void> => {
      try {
        const now = await actions.toggle.mutateAsync({ id: plan.id, version: plan.version })
        notices.say(t(now.enabled ? 'plans.switched_on' : 'plans.switched_off', { name: safeName(now.name) }))
      } catch (error) {
        notices.fail(problemOf(error))
      }
    },
    resume: (server: string) => told(() => actions.resume.mutateAsync(server), t('plans.pause.resumed')),
    /** Throws, so that the dialogue can say why it was refused. */
    pause: async (pausing: Pausing): Promise<void> => {
      await actions.pause.mutateAsync(pausing)
      const name = safeName(pausing.server ?? '')
      notices.say(name ? t('plans.pause.of_server', { name }) : t('plans.pause.done'))
    },
    /** Throws, as above. */
    remove: async (plan: BackupJob): Promise<void> => {
      await actions.remove.mutateAsync(plan.id)
      notices.say(t('plans.remove.done', { name: safeName(plan.name) }))
    },
  }
}
