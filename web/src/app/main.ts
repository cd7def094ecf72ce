import { VueQueryPlugin } from '@tanstack/vue-query'
import { createPinia } from 'pinia'
import { createApp, watch } from 'vue'
import { i18n, preferredLanguage, speak } from '@/lib/i18n'
import { createQueries } from '@/lib/live/polling'
import { followEvents } from '@/lib/live/stream'
import { me } from '@/lib/session'
import { createAppRouter } from '@/router'
import '@/styles/base.css'
import App from './App.vue'

const queryClient = createQueries()
// What was loaded belongs to whoever was signed in.
watch(
  () => me.value?.id,
  (_now, before) => before && queryClient.clear(),
)
watch(
  () => me.value?.id,
  (now, _before, onCleanup) => now && onCleanup(followEvents(queryClient)),
  { immediate: true },
)
await speak(preferredLanguage())
createApp(App)
  .use(createPinia())
  .use(i18n)
  .use(VueQueryPlugin, { queryClient })
  .use(createAppRouter())
  .mount('#app')
