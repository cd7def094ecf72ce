import access from '@/locales/en/access.json'
import alerts from '@/locales/en/alerts.json'
import audit from '@/locales/en/audit.json'
import auth from '@/locales/en/auth.json'
import backups from '@/locales/en/backups.json'
import compliance from '@/locales/en/compliance.json'
import errors from '@/locales/en/errors.json'
import files from '@/locales/en/files.json'
import find from '@/locales/en/find.json'
import jobs from '@/locales/en/jobs.json'
import overview from '@/locales/en/overview.json'
import plans from '@/locales/en/plans.json'
import profile from '@/locales/en/profile.json'
import retention from '@/locales/en/retention.json'
import schedule from '@/locales/en/schedule.json'
import servers from '@/locales/en/servers.json'
import settings from '@/locales/en/settings.json'
import shell from '@/locales/en/shell.json'
import status from '@/locales/en/status.json'
import storage from '@/locales/en/storage.json'
import ui from '@/locales/en/ui.json'
import watch from '@/locales/en/watch.json'
import wizard from '@/locales/en/wizard.json'

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
