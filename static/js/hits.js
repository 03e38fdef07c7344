// The hits of a page of any kind: who they are, marks, and dragging them.

import { emit, find, findAll, listen } from './dom.js'

/** The hits of a long list that are out of the page, which grid_window.js sets. */
export const away = { grid: null, above: [], below: [] }

/** All hits in their order; those of a long list may not be in the page: bringIn(). */
export function hits () {
  const shown = findAll('main .hit[data-item]')
  return away.grid?.isConnected ? [...away.above, ...shown, ...away.below] : shown
}

/** The hit around an element, or the item in the panel or on its own page. */
export const ownerOf = (element) => element?.closest?.('[data-item]')
export const hitOf = (element) => element?.closest?.('main .hit[data-item]')
export const keyOf = (owner) => `${owner.dataset.dataset}/${owner.dataset.item}`
export const itemOf = (owner) => ({ dataset: owner.dataset.dataset, id: Number(owner.dataset.item) })
export const pictureOf = (hit) => find('a.picture', hit)

/** Whether the grid veils the image of this item. */
export const isUnsafe = (id) => hits().some(({ dataset }) => dataset.item === String(id) && 'unsafe' in dataset)

/** Marks refine a search; on other pages nothing acts on them. */
export const canMark = () => document.body.matches('.searching')

/** Mark items as good or bad; unmark them if all have this mark already. */
export function mark (owners, good) {
  if (!owners.length || !canMark()) return false
  const name = good ? 'good' : 'bad'
  const unmark = owners.every((owner) => owner.dataset.mark === name)
  emit('mark', { items: owners.map(itemOf), good: unmark ? null : good })
}

export function collect (owners) {
  if (!owners.length) return false
  emit('collect', { items: owners.map(itemOf) })
}

document.addEventListener('click', ({ target }) => {
  const button = target.closest?.('[data-act]')
  if (!button) return
  const owner = ownerOf(button)
  if (button.dataset.act === 'collect') collect([owner])
  else if (button.dataset.act !== 'select') mark([owner], button.dataset.act === 'good')
})

// -- marks on the buttons

function showMark (owner) {
  for (const button of findAll('[data-act=good], [data-act=bad]', owner)) {
    button.setAttribute('aria-pressed', button.dataset.act === owner.dataset.mark)
  }
}

/** Give an item in the panel the mark of its hit. */
export function mirrorMark (hit) {
  const panel = find('#detail .item')
  if (!panel || keyOf(panel) !== keyOf(hit)) return
  if (hit.dataset.mark) panel.dataset.mark = hit.dataset.mark
  else delete panel.dataset.mark
  showMark(panel)
}

new MutationObserver((changes) => {
  for (const { target } of changes) {
    if (!target.matches('.hit[data-item]')) continue
    showMark(target)
    mirrorMark(target)
  }
}).observe(document.body, { subtree: true, attributeFilter: ['data-mark'] })

listen('settled', () => findAll('.hit[data-mark]').forEach(showMark))

// -- dragging

const ITEM_TYPE = 'application/x-laionweb-item' // JSON of {dataset, id}, or a list of them

export const bringsItems = ({ dataTransfer }) => Boolean(dataTransfer?.types.includes(ITEM_TYPE))
export const droppedItems = ({ dataTransfer }) => [JSON.parse(dataTransfer.getData(ITEM_TYPE))].flat()

document.addEventListener('dragstart', (event) => {
  const hit = hitOf(event.target)
  if (hit) event.dataTransfer?.setData(ITEM_TYPE, JSON.stringify(itemOf(hit)))
})
