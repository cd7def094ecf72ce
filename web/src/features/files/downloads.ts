// Downloads of what is chosen of a backup: the API gives a link that works once, and the browser follows it by itself.
import { useMutation } from '@tanstack/vue-query'
import { useI18n } from 'vue-i18n'
import { problemOf } from '@/lib/api/errors'
import { useNotices } from '@/lib/notices'
import { toItem } from '@/lib/path'
import { askForDownload, type DownloadBody } from './api'
import type { Chosen } from './selection'

export type Format = NonNullable<DownloadBody['format']>

/** The forms in which this can be had; one file as it is comes first. */
export function formatsOf(items: Chosen[]): Format[] {
  const all: Format[] = ['zip', 'tar.zst', 'tar']
  return items.length === 1 && !items[0]?.directory ? ['file', ...all] : all
}

/** As a link, so that an answer that refuses it does not take the place of the page. */
function follow(url: string, name: string): void {
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
}

export function useDownload(id: () => string) {
  const { t } = useI18n()
  const notices = useNotices()
  return useMutation({
    mutationFn: ({ items, format }: { items: Chosen[]; format: Format }) =>
      askForDownload(id(), { items: items.map((one) => toItem(one.path)), format }),
    onSuccess: ({ url, name }) => {
      follow(url, name)
      notices.say(t('files.download.begun', { name }))
    },
    onError: (error) => notices.fail(problemOf(error)),
  })
}
