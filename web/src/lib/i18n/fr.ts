import alerts from '@/locales/fr/alerts.json'
import auth from '@/locales/fr/auth.json'
import backups from '@/locales/fr/backups.json'
import errors from '@/locales/fr/errors.json'
import files from '@/locales/fr/files.json'
import jobs from '@/locales/fr/jobs.json'
import overview from '@/locales/fr/overview.json'
import plans from '@/locales/fr/plans.json'
import servers from '@/locales/fr/servers.json'
import shell from '@/locales/fr/shell.json'
import status from '@/locales/fr/status.json'
import storage from '@/locales/fr/storage.json'
import ui from '@/locales/fr/ui.json'

export const messages = {
  alerts,
  auth,
  backups,
  errors,
  files,
  jobs,
  overview,
  plans,
  servers,
  shell,
  status,
  storage,
  ui,
}
