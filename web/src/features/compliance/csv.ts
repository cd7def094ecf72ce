// The report as a table for other programs.
import type { Compliance } from './api'

const COLUMNS = [
  'server',
  'backup_job',
  'state',
  'target_seconds',
  'last_good_at',
  'age_seconds',
  'breaks_at',
] as const satisfies (keyof Compliance)[]

/** A spreadsheet would run a cell that begins like this as a formula: names come from people and servers. */
const FORMULA = /^[=+\-@\t\r]/

export function cell(value: string | number | null): string {
  if (value === null) return ''
  if (typeof value === 'number') return String(value)
  const text = FORMULA.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export function csvOf(rows: Compliance[]): string {
  const lines = rows.map((row) => COLUMNS.map((name) => cell(row[name])).join(','))
  return `${[COLUMNS.join(','), ...lines].join('\r\n')}\r\n`
}

// Without it a spreadsheet takes UTF-8 for something else.
const MARK = '\ufeff'

/** Has the browser save a text as a file. */
export function saveAs(name: string, text: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([MARK, text], { type: 'text/csv;charset=utf-8' }))
  link.download = name
  link.click()
  URL.revokeObjectURL(link.href)
}
