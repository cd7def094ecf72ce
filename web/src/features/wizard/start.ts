// Makes what the wizard's form says, and goes to the new backup job.
import { ref } from 'vue'
import { useI18n } from 'vue-i18n'
import { useRouter } from 'vue-router'
import { problemOf } from '@/lib/api/errors'
import { safeName } from '@/lib/format'
import { useNotices } from '@/lib/notices'
import { useWizard } from './api'
import { keepDraft, requestOf, restOf, type WizardForm } from './wizard'

export function useStart(form: WizardForm) {
  const { t } = useI18n()
  const router = useRouter()
  const notices = useNotices()
  const { make, complete } = useWizard()
  const busy = ref(false)
  const failed = ref<unknown>(null)

  async function work(name: string): Promise<void> {
    const made = requestOf(form, name)
    const rest = restOf(form)
    const job = await make.mutateAsync(made)
    // From here on it exists: asking once more would make a second one.
    keepDraft(null)
    const path = `/backup-jobs/${job.backup_job_id ?? ''}`
    try {
      if (rest) await complete.mutateAsync({ job, made, rest })
    } catch (error) {
      notices.fail(problemOf(error))
      notices.say(t('wizard.half_done', { name: safeName(name) }))
      await router.push(`${path}/edit`)
      return
    }
    notices.say(t('wizard.done', { name: safeName(name) }))
    await router.push(path)
  }

  return {
    busy,
    failed,
    start: async (name: string): Promise<void> => {
      if (busy.value) return
      busy.value = true
      failed.value = null
      try {
        await work(name)
      } catch (error) {
        failed.value = error
      } finally {
        busy.value = false
      }
    },
  }
}
