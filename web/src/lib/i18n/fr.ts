import access from '@/locales/fr/access.json'
import alerts from '@/locales/fr/alerts.json'
import audit from '@/locales/fr/audit.json'
import auth from '@/locales/fr/auth.json'
import backups from '@/locales/fr/backups.json'
import compliance from '@/locales/fr/compliance.json'
import errors from '@/locales/fr/errors.json'
import files from '@/locales/fr/files.json'
import find from '@/locales/fr/find.json'
import jobs from '@/locales/fr/jobs.json'
import overview from '@/locales/fr/overview.json'
import plans from '@/locales/fr/plans.json'
import profile from '@/locales/fr/profile.json'
import retention from '@/locales/fr/retention.json'
import schedule from '@/locales/fr/schedule.json'
import servers from '@/locales/fr/servers.json'
import settings from '@/locales/fr/settings.json'
import shell from '@/locales/fr/shell.json'
import status from '@/locales/fr/status.json'
import storage from '@/locales/fr/storage.json'
import ui from '@/locales/fr/ui.json'
import watch from '@/locales/fr/watch.json'
import wizard from '@/locales/fr/wizard.json'

export const messages = {
  access,
  alerts,
  audit,
  auth,
  backups,
  compliance,
  errors,
  files,
  find,
  jobs,
  overview,
  plans,
  profile,
  retention,
  schedule,
  servers,
  settings,
  shell,
  status,
  storage,
  ui,
  watch,
  wizard,
}
