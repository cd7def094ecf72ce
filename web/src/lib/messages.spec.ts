import { describe, expect, it } from 'vitest'
import { tell } from './messages'

const ENTRIES = {
  plain: { text: 'le disque est plein', remedy: 'libérer {free:.1f} Gio ; {{id}}' },
  seen: { text: '[{where} : ]injoignable[ : {seen}]', remedy: 'vérifier [[ceci]]' },
  cause: { text: '{reason} (après {failures} tentatives)' },
  counted: { text: '{files} ; [encore {more:,} ; ]fin' },
  files: { text: '{count:,} fichiers' },
  when: { text: 'jusqu’au {until:moment}' },
  who: { text: '{name} n’a pas ce droit !' },
  many: { text: '{names}:{port}' },
}
const say = (key: string, params: Record<string, unknown> = {}) =>
  tell({ key, params }, { language: 'fr', entries: ENTRIES, unknown: 'inconnu', zone: 'Europe/Paris' })

describe('a message', () => {
  it.each([
    ['plain', { free: 1.25 }, 'Le disque est plein.', 'Libérer 1,3 Gio ; {id}.'],
    ['when', { until: '2026-11-27T09:54:02.328000+00:00' }, 'Jusqu’au 27 nov. 2026, 10:54.', ''],
    ['when', { until: '2026-11-27T09:54:02' }, 'Jusqu’au 27 nov. 2026, 10:54.', ''],
    ['when', { until: '2026-11-27 09:54 UTC' }, 'Jusqu’au 2026-11-27 09:54 UTC.', ''],
    ['when', { until: 'demain' }, 'Jusqu’au demain.', ''],
    ['when', { until: 5 }, 'Jusqu’au 5.', ''],
    ['plain', { free: 'peu' }, 'Le disque est plein.', 'Libérer peu Gio ; {id}.'],
    ['plain', {}, 'Le disque est plein.', 'Libérer inconnu Gio ; {id}.'],
    ['seen', {}, 'Injoignable.', 'Vérifier [ceci].'],
    ['seen', { where: 'web1', seen: '' }, 'web1 : injoignable.', 'Vérifier [ceci].'],
    ['seen', { where: null, seen: 'refusé' }, 'Injoignable : refusé.', 'Vérifier [ceci].'],
    ['many', { names: ['a', 'b'], port: 2222 }, 'a, b:2222.', ''],
    ['who', { name: 'ada' }, 'ada n’a pas ce droit !', ''],
    [
      'counted',
      { files: { key: 'files', params: { count: 1204 } }, more: 2500 },
      '1\u202f204 fichiers ; encore 2\u202f500 ; fin.',
      '',
    ],
    ['many', { names: [], port: 0 }, 'inconnu:0.', ''],
    [
      'cause',
      { reason: { key: 'plain', params: { free: 2 } }, failures: 3 },
      'Le disque est plein (après 3 tentatives).',
      'Libérer 2,0 Gio ; {id}.',
    ],
    [
      'cause',
      { reason: { key: 'new.text', params: { text: 'odd' } }, failures: 3 },
      'odd (après 3 tentatives).',
      '',
    ],
  ])('%s with %j', (key, params, text, remedy) => {
    expect(say(key, params)).toEqual({ text, remedy, foreign: false })
  })

  it('that a hostile server filled stays one text, and fills nothing else', () => {
    const hostile = { where: '{free}[x]\u202e<img src=x>', seen: 'line\n2' }
    expect(say('seen', hostile)?.text).toBe('{free}[x]\\u{202e}<img src=x> : injoignable : line\\u{a}2.')
  })

  it('that this version does not know is left to its English words', () => {
    expect(say('of_the_future')).toBeNull()
  })
})
