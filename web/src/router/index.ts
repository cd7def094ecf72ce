// One line a page.
import { watch } from 'vue'
import { createRouter, createWebHistory, type RouteRecordRaw } from 'vue-router'
import { isSignedIn } from '@/features/auth/api'
import { nextOf } from '@/features/auth/next'
import { firstSetting } from '@/features/settings/tabs'
import { i18n } from '@/lib/i18n'
import { me } from '@/lib/session'
import { focusTitle } from './focus'

const page = (
  path: string,
  title: string,
  component: NonNullable<RouteRecordRaw['component']>,
): RouteRecordRaw => ({
  path,
  component,
  meta: { title },
})

/** A page for who is not signed in. */
const open: typeof page = (path, title, component) => ({ path, component, meta: { title, open: true } })

export const routes: RouteRecordRaw[] = [
  page('/', 'overview.title', () => import('@/features/overview/OverviewView.vue')),
  open('/login', 'auth.title', () => import('@/features/auth/LoginView.vue')),
  open('/setup', 'auth.first.title', () => import('@/features/auth/SetUpView.vue')),
  open('/accept', 'auth.accept.title', () => import('@/features/auth/AcceptView.vue')),
  page('/servers', 'servers.title', () => import('@/features/servers/ServersView.vue')),
  page('/servers/new', 'servers.add.title', () => import('@/features/servers/AddServerView.vue')),
  page('/servers/:id/setup', 'servers.setup.title', () => import('@/features/servers/SetupView.vue')),
  { path: '/servers/:id', redirect: (to) => `/servers/${String(to.params['id'])}/summary` },
  page(
    '/servers/:id/:tab(summary|history|jobs)',
    'servers.title',
    () => import('@/features/servers/ServerView.vue'),
  ),
  page('/backups', 'backups.title', () => import('@/features/backups/BackupsView.vue')),
  page('/backups/:id', 'backups.title', () => import('@/features/backups/BackupView.vue')),
  page('/backups/:id/diff/:other', 'files.diff.title', () => import('@/features/files/DiffView.vue')),
  page('/backups/:id/files', 'files.title', () => import('@/features/files/FilesView.vue')),
  page('/backups/:id/usage', 'files.usage.title', () => import('@/features/files/UsageView.vue')),
  page('/find', 'find.title', () => import('@/features/find/FindView.vue')),
  page('/backup-jobs', 'plans.title', () => import('@/features/plans/PlansView.vue')),
  page('/backup-jobs/:id', 'plans.title', () => import('@/features/plans/PlanView.vue')),
  page('/backup-jobs/:id/edit', 'plans.edit.title', () => import('@/features/plans/PlanEditView.vue')),
  page('/pauses', 'plans.pauses.title', () => import('@/features/plans/PausesView.vue')),
  page('/wizard', 'wizard.title', () => import('@/features/wizard/WizardView.vue')),
  page('/activity', 'jobs.title', () => import('@/features/jobs/ActivityView.vue')),
  page('/activity/night', 'jobs.night.title', () => import('@/features/jobs/NightView.vue')),
  page('/jobs/:id', 'jobs.title', () => import('@/features/jobs/JobView.vue')),
  page('/storage', 'storage.title', () => import('@/features/storage/StorageView.vue')),
  page('/repositories/:id', 'storage.title', () => import('@/features/storage/RepositoryView.vue')),
  page(
    '/repositories/:id/versions',
    'files.versions.title',
    () => import('@/features/files/VersionsView.vue'),
  ),
  page('/alerts', 'alerts.title', () => import('@/features/alerts/AlertsView.vue')),
  page('/alerts/channels', 'watch.channels.title', () => import('@/features/alerts/ChannelsView.vue')),
  page('/alerts/channels/new', 'watch.channels.add', () => import('@/features/alerts/AddChannelView.vue')),
  page('/alerts/channels/:id', 'watch.channels.title', () => import('@/features/alerts/ChannelView.vue')),
  page('/alerts/rules', 'watch.rules.title', () => import('@/features/alerts/RulesView.vue')),
  page('/alerts/windows', 'watch.windows.heading', () => import('@/features/alerts/WindowsView.vue')),
  page('/alerts/:id', 'alerts.title', () => import('@/features/alerts/AlertView.vue')),
  page('/access/users', 'access.users.title', () => import('@/features/access/UsersView.vue')),
  page('/access/users/:id', 'access.users.title', () => import('@/features/access/UserView.vue')),
  page('/access/tokens', 'access.tokens.title', () => import('@/features/access/TokensView.vue')),
  page('/access/approvals', 'access.approvals.title', () => import('@/features/access/ApprovalsView.vue')),
  page('/audit', 'audit.title', () => import('@/features/audit/AuditView.vue')),
  page('/audit/:id', 'audit.title', () => import('@/features/audit/EntryView.vue')),
  page('/profile', 'profile.title', () => import('@/features/profile/ProfileView.vue')),
  page('/compliance', 'compliance.title', () => import('@/features/compliance/ComplianceView.vue')),
  {
    ...page('/settings', 'settings.title', () => import('@/app/NotFoundView.vue')),
    beforeEnter: firstSetting,
  },
  page('/settings/about', 'settings.about.title', () => import('@/features/settings/AboutView.vue')),
  page(
    '/settings/four-eyes',
    'settings.four_eyes.title',
    () => import('@/features/settings/FourEyesView.vue'),
  ),
  page('/settings/limits', 'settings.limits.title', () => import('@/features/settings/LimitsView.vue')),
  page('/settings/services', 'settings.services.title', () => import('@/features/settings/ServicesView.vue')),
  page('/settings/tags', 'settings.tags.title', () => import('@/features/settings/TagsView.vue')),
  page('/:rest(.*)*', 'shell.not_found.title', () => import('@/app/NotFoundView.vue')),
]

export function createAppRouter() {
  const router = createRouter({
    history: createWebHistory(),
    routes,
    scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
  })

  router.beforeEach(async (to) => {
    if (to.path === '/login') return (await isSignedIn()) ? nextOf(to.query['next']) : true
    if (to.meta['open']) return true
    if (await isSignedIn()) {
      // Who has to set up a second factor may nothing else before.
      return me.value?.second_factor_required && to.path !== '/profile' ? '/profile' : true
    }
    return { path: '/login', query: { next: to.fullPath } }
  })
  router.afterEach((to, from) => {
    document.title = `${i18n.global.t(String(to.meta['title']))} · Borgfleet`
    if (from.matched.length > 0 && to.path !== from.path) focusTitle()
  })
  // A session that is over, here or in another tab: back to the login, and from there to the same place.
  watch(me, (now) => {
    const here = router.currentRoute.value
    if (!now && !here.meta['open']) void router.replace({ path: '/login', query: { next: here.fullPath } })
  })
  return router
}
