// What a person tells a server to do, with the words about it.
import { useI18n } from 'vue-i18n'
import { problemOf } from '@/lib/api/errors'
import { safeName } from '@/lib/format'
import { useNotices } from '@/lib/notices'
import { type Server, useServerActions } from '../api'

export function useServerCommands() {
  const { t } = useI18n()
  const notices = useNotices()
  const actions = useServerActions()

  async function told(work: () => Promise<unknown>, said: string): Promise<void> {
    try {
      await work()
      notices.say(said)
    } catch (error) {
      notices.fail(problemOf(error))
    }
  }

  return {
    busy: actions.collectAll.isPending,
    refresh: actions.refresh,
    collect: (server: Server) =>
      told(
        () => actions.collect.mutateAsync(server.id),
        t('servers.collecting', { name: safeName(server.name) }),
      ),
    collectAll: () => told(() => actions.collectAll.mutateAsync(undefined), t('servers.collecting_all')),
    /** Throws, so that the dialogue can say why it was refused. */
    remove: async (server: Server) => {
      await actions.remove.mutateAsync(server.id)
      notices.say(t('servers.remove.done', { name: safeName(server.name) }))
    },
  }
}
