// On every page: the list of keys, toasts, and the menu.

import { find, findAll } from './dom.js'
import { bind } from './keys.js'
import './toast.js'

const menu = find('.menu')
const wide = matchMedia(find('.finder') ? '(min-width: 1501px)' : '(min-width: 761px)')

function fit () {
  menu?.classList.toggle('unfolded', wide.matches)
  if (menu) menu.open = wide.matches
}

wide.addEventListener('change', fit)
fit()

bind('Escape', null, () => {
  if (!menu?.open || wide.matches) return false
  menu.open = false
  find('summary', menu).focus()
})

document.addEventListener('click', (event) => {
  if (menu && !wide.matches && !event.target.closest('.menu')) menu.open = false
  // A click outside a dialog closes it.
  for (const dialog of findAll('dialog[open]')) {
    if (event.target === dialog) dialog.close()
  }
})
