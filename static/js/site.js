// On every page: the keyboard's help, toasts, and menus that close by themselves.

import { find, findAll } from './dom.js'
import './keys.js'
import './toast.js'

const wide = matchMedia('(min-width: 1501px)')
const menu = find('.menu')

/** On wide screens the menu is not folded. */
function fit () {
  if (menu) menu.open = wide.matches
}

wide.addEventListener('change', fit)
fit()

document.addEventListener('click', (event) => {
  if (menu && !wide.matches && !event.target.closest('.menu')) menu.open = false
  // A click beside a dialog closes it.
  for (const dialog of findAll('dialog[open]')) {
    if (event.target === dialog) dialog.close()
  }
})
