// Every permission that there is, as the API's description lists them.
import { readFileSync } from 'node:fs'
import type { Permission } from '@/lib/session'

const description = JSON.parse(readFileSync('../docs/openapi.json', 'utf8'))
export const PERMISSIONS: Permission[] = description.components.schemas.Permission.enum
