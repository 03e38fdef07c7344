// The pictures of a page, whatever page it is, and what can be done with them.

import { find, findAll, heed, tell } from './dom.js'

export const hits = () => findAll('main .hit[data-item]')
/** The hit, or the item in the panel or on its page, to which an element belongs. */
export const ownerOf = (element) => element?.closest?.('[data-item]')
export const hitOf = (element) => element?.closest?.('main .hit[data-item]')
export const keyOf = (owner) => `${owner.dataset.dataset}/${owner.dataset.item}`
export const itemOf = (owner) => ({ dataset: owner.dataset.dataset, id: Number(owner.dataset.item) })
export const pictureOf = (hit) => find('a.picture', hit)

/** Whether the picture of this item is veiled in the grid by itself. */
export const isUnsafe = (id) => Boolean(find(`main .hit[data-item="${id}"][data-unsafe]`))

/** Marks are for searches: on other pages nobody would act on them. */
export const canMark = () => document.body.matches('.searching')

/** Marks as good or bad; what has this mark already loses it. */
export function mark (owners, good) {
  if (!owners.length || !canMark()) return false
  const word = good ? 'good' : 'bad'
  const undo = owners.every((owner) => owner.dataset.mark === word)
  tell('mark', { items: owners.map(itemOf), good: undo ? null : good })
}

export function collect (owners) {
  if (!owners.length) return false
  tell('collect', { items: owners.map(itemOf) })
}

document.addEventListener('click', ({ target }) => {
  const button = target.closest?.('[data-act]')
  if (!button) return
  const owner = ownerOf(button)
  if (button.dataset.act === 'collect') collect([owner])
  else if (button.dataset.act !== 'select') mark([owner], button.dataset.act === 'good')
})

// -- marks, as the buttons tell them

function tellMark (owner) {
  for (const button of findAll('[data-act=good], [data-act=bad]', owner)) {
    button.setAttribute('aria-pressed', button.dataset.act === owner.dataset.mark)
  }
}

/** An item in the panel has the mark of its hit. */
export function mirrorMark (hit) {
  const panel = find('#detail .item')
  if (!panel || keyOf(panel) !== keyOf(hit)) return
  if (hit.dataset.mark) panel.dataset.mark = hit.dataset.mark
  else delete panel.dataset.mark
  tellMark(panel)
}

new MutationObserver((changes) => {
  for (const { target } of changes) {
    if (!target.matches('.hit[data-item]')) continue
    tellMark(target)
    mirrorMark(target)
  }
}).observe(document.body, { subtree: true, attributeFilter: ['data-mark'] })

heed('settled', () => findAll('.hit[data-mark]').forEach(tellMark))

// -- dragged away: what a hit is, for whoever it is dropped on

document.addEventListener('dragstart', (event) => {
  const hit = hitOf(event.target)
  if (hit) event.dataTransfer?.setData('application/x-laionweb-item', JSON.stringify(itemOf(hit)))
})
